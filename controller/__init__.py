"""The storage controller, and the library that every program of the project stands on."""

import sys

# httpx brings a command line of its own, with rich, pygments and click: half of its import, for nobody here. It does
# without when that cannot be imported, and a module that is None cannot.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
