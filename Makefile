# Two commands are all the set-up on a fresh Debian 12, as root:
#   make demo    pull, run and explain a container
#   make test    every test there is

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
BIN := .venv/bin

# The peers that the conformance suite asks first, and what the package itself needs from Debian.
DEBIAN := python3-venv libseccomp2 busybox-static runc crun containerd containernetworking-plugins \
          docker-registry skopeo umoci attr

.PHONY: install check demo test unit docs conformance clean

install: .venv/installed

.venv/installed: pyproject.toml
	@missing=$$(for p in $(DEBIAN); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[docs,test]'
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy minicontainerd tests conformance
	$(BIN)/lint-imports
	$(BIN)/pytest -q
