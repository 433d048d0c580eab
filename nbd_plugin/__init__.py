"""What runs inside nbdkit: entry points, the error boundary, exports and the control socket.

Decides nothing; the write path is controller/volume/. Nothing here is
imported by other packages.
"""

import os

# Before anything imports numpy: nothing here does linear algebra, and its threads take half the time of a start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
