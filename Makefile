# The one place for set-up, tests and the demo. `make help` lists the targets.
#
# Works from any folder (`make -C PATH` or `make -f PATH/Makefile`), with any
# HOME, without a terminal, and two at a time.

# By the shell, because make's own functions take a path with a space for two.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)
VENV := $(ROOT)/.venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
TOOLS_READY := $(VENV)/.tools-ready
HOME_OF_SERVICES := /opt/pairvol
SET_UP_FROM := pyproject.toml setup.py controller/journal/hot

# nbdkit embeds the distribution's interpreter, and libnbd's binding is a Debian package only: the virtual
# environment must come from that very interpreter, not from the first one on PATH.
SYSTEM_PYTHON ?= /usr/bin/python3

APT_PACKAGES := nbdkit nbdkit-plugin-python libnbd-bin python3-libnbd python3-venv fuse3 e2fsprogs util-linux mount \
	gcc libc6-dev python3-dev
# What only tests use, and what only benches use besides.
TEST_PACKAGES := iproute2 strace fio qemu-utils postgresql
BENCH_PACKAGES := qemu-system-common

# Read by PostgreSQL's package when it is installed, for as long as this file is there: the tests use its programs,
# and nobody asked for a database on this machine.
NO_CLUSTER := /etc/postgresql-common/createcluster.d/pairvol.conf

# Taken out of Debian's package prometheus, which installed would start a server.
PROMTOOL := $(VENV)/bin/promtool

PACKAGES := controller hostagent nbd_plugin
ROWS ?=
SUITE ?=
POINTS ?=
SEED ?=
MUTANT ?=
TAKEOVERS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Most tests wait for processes, so there are more workers than cores on a small machine. The order is kept because
# the longest come first in it; by number of tests, as is the default, one long file would be left for the end.
TEST_WORKERS ?= 4

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
# After a plain `su` root's search path lacks these, and apt-get gives up.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help setup tools demo install test lint format bench crash postgres mutants clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' '$(ROOT)/Makefile' | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

# $(call debian_packages,LIST) installs what is missing of a list. It asks dpkg, not a stamp: packages can go away
# behind our back, and asking takes some ten milliseconds. What apt-get says is shown when it fails.
define debian_packages
missing=; for package in $(1); do \
  [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null)" = installed ] || missing+=" $$package"; \
done; \
[ -z "$$missing" ] && exit 0; \
if [ "$$(id -u)" != 0 ]; then \
  echo "pairvol: Debian packages are missing:$$missing" >&2; \
  echo "HINT: run \"make $@\" once as root, or install them with apt-get." >&2; exit 1; \
fi; \
echo "installing Debian packages:$$missing"; \
export DEBIAN_FRONTEND=noninteractive; exec </dev/null; \
said=$$(mktemp); settings=; \
clean() { rm -f "$$said"; [ -z "$$settings" ] && return; \
  rm -f $$settings; rmdir -p --ignore-fail-on-non-empty $(dir $(NO_CLUSTER)) || :; }; \
trap clean EXIT; \
if [[ "$$missing " == *" postgresql "* ]]; then \
  settings=$(NO_CLUSTER); mkdir -p $(dir $(NO_CLUSTER)); echo 'create_main_cluster = false' >$$settings; \
fi; \
quietly() { apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$$@" >"$$said" 2>&1 && return; \
  cat "$$said" >&2; echo "pairvol: cannot install Debian packages:$$missing" >&2; \
  echo "HINT: apt-get says why, above." >&2; exit 1; }; \
quietly update; quietly install -y --no-install-recommends $$missing
endef

# $(call python_packages,STAMP,STAMPS,EXTRAS) brings the virtual environment up to date with pyproject.toml. The lock
# lets two `make` at once share one environment: the second finds the stamp of the first.
define python_packages
ready() { [ -e '$(1)' ] && [ -z "$$(cd '$(ROOT)' && find $(SET_UP_FROM) -newer '$(1)')" ]; }; \
ready && exit 0; \
[ -w '$(ROOT)' ] || { echo "pairvol: no right to write to $(ROOT)" >&2; \
  echo "HINT: run \"make $@\" once as its owner." >&2; exit 1; }; \
exec 9>'$(ROOT)/.venv.lock'; flock 9; \
ready && exit 0; \
echo "preparing $(VENV) (half a minute)"; \
'$(PYTHON)' -c '' 2>/dev/null || '$(SYSTEM_PYTHON)' -m venv --clear --system-site-packages '$(VENV)'; \
cd '$(ROOT)'; '$(PYTHON)' -m pip install -qq --editable '.$(3)' </dev/null || { \
  echo "pairvol: cannot install Python packages into $(VENV)" >&2; \
  echo "HINT: pip says why, above; where PyPI is not reached, \"pip config\" names another index." >&2; exit 1; }; \
touch $(2)
endef

# Each daemon and volume server is a process of its own. Where Python may not keep what it compiled, or is told not to,
# every one of them would compile all modules anew.
compile = cd '$(ROOT)'; [ ! -w controller ] || '$(PYTHON)' -m compileall -q $(1)

setup: ## install what is missing to run it (Debian packages as root, Python packages into .venv)
	@$(call debian_packages,$(APT_PACKAGES))
	@$(call python_packages,$(READY),'$(READY)',)
	@$(call compile,$(PACKAGES))

tools: ## the same, and what the tests need
	@$(call debian_packages,$(APT_PACKAGES) $(TEST_PACKAGES))
	@$(call python_packages,$(TOOLS_READY),'$(READY)' '$(TOOLS_READY)',[dev])
	@$(call compile,$(PACKAGES) tests)
	@[ -x '$(PROMTOOL)' ] || command -v promtool >/dev/null || { \
	  taken=$$(mktemp -d); trap 'rm -rf "$$taken"' EXIT; cd "$$taken"; \
	  apt-get -qq download prometheus && dpkg -x prometheus_*.deb . && install usr/bin/promtool '$(PROMTOOL)'; \
	} >/dev/null 2>&1 || echo "promtool cannot be had; the alerts are not tried"

demo: setup ## two sites on this machine, from mkfs to takeover, with a verdict
	@'$(VENV)/bin/pairvol' demo $(DEMO_ARGS)

# Once more to upgrade: what an administrator wrote into /etc/pairvol stays. `build` would carry modules that are gone.
install: ## to /opt/pairvol, with units, user and /etc/pairvol, as root; again to upgrade
	@[ "$$(id -u)" = 0 ] || { echo "pairvol: make install needs root" >&2; exit 1; }
	@$(call debian_packages,$(APT_PACKAGES))
	@umask 022; cd '$(ROOT)'; rm -rf build; \
	'$(HOME_OF_SERVICES)/bin/python' -c '' 2>/dev/null || \
	  '$(SYSTEM_PYTHON)' -m venv --clear --system-site-packages '$(HOME_OF_SERVICES)'; \
	'$(HOME_OF_SERVICES)/bin/python' -m pip install -qq . </dev/null; rm -rf build; \
	ln -sf '$(HOME_OF_SERVICES)/bin/pairvol' /usr/bin/pairvol; \
	install -D -m 644 -t /etc/systemd/system systemd/*.service; \
	install -D -m 644 systemd/pairvol.sysusers /usr/lib/sysusers.d/pairvol.conf; \
	install -D -m 644 systemd/pairvol.tmpfiles /usr/lib/tmpfiles.d/pairvol.conf; \
	systemd-sysusers pairvol.conf; systemd-tmpfiles --create pairvol.conf; \
	cp -n systemd/*.toml /etc/pairvol/; \
	[ ! -d /run/systemd/system ] || systemctl daemon-reload; \
	echo "installed; next: name the sites and the other agent in /etc/pairvol/*.toml, then"; \
	echo "  systemctl enable --now pairvol-controller pairvol-agent"; echo "  pairvol check"

lint: tools ## style, types, and which package may import which
	@cd '$(ROOT)'; '$(VENV)/bin/ruff' check $(PACKAGES) tests
	@cd '$(ROOT)'; '$(VENV)/bin/ruff' format --check $(PACKAGES) tests
	@cd '$(ROOT)'; '$(VENV)/bin/mypy'
	@cd '$(ROOT)'; '$(VENV)/bin/lint-imports' --no-cache

format: tools ## let ruff lay out the code
	@cd '$(ROOT)'; '$(VENV)/bin/ruff' check --fix-only $(PACKAGES) tests; '$(VENV)/bin/ruff' format $(PACKAGES) tests

test: lint ## lint, then every test; PYTEST_ARGS adds options
	@cd '$(ROOT)'; '$(PYTHON)' -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

bench: tools ## side by side with nbdkit file, QEMU and plain writes; ROWS=1,3 runs some
	@$(call debian_packages,$(BENCH_PACKAGES))
	@cd '$(ROOT)'; '$(PYTHON)' -m tests.bench $(if $(ROWS),--rows $(ROWS)) $(BENCH_ARGS)

crash: tools ## every crash suite at full length; SUITE=powercut POINTS=1000 SEED=7 runs one at a given size
	@cd '$(ROOT)'; '$(PYTHON)' -m tests.crash.run $(SUITE) $(if $(POINTS),--points $(POINTS)) $(if $(SEED),--seed $(SEED))

postgres: tools ## a PostgreSQL server through 20 takeovers, planned and forced, and back; TAKEOVERS=5 SEED=7
	@cd '$(ROOT)'; '$(PYTHON)' -m tests.postgres $(if $(TAKEOVERS),--takeovers $(TAKEOVERS)) $(if $(SEED),--seed $(SEED))

mutants: tools ## ten mistakes put into copies of the product, and which suite catches each; MUTANT=purge runs one
	@cd '$(ROOT)'; '$(PYTHON)' -m tests.crash.mutants.run $(MUTANT)

clean: ## remove what make, tests and tools left behind
	@cd '$(ROOT)'; rm -rf .venv .venv.lock build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis; \
	find $(PACKAGES) tests \( -name __pycache__ -o -name '*.so' \) -prune -exec rm -rf {} +
