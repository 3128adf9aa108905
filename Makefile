# Two commands are all the set-up on a fresh Debian 12, as root:
#   make demo    pull, run and explain a container
#   make test    every test there is
# and while you work on it:
#   make check   the quick round, a minute

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
BIN := .venv/bin

# What the package needs from Debian (libseccomp2, busybox-static), and the peers that the suite asks first.
DEBIAN := attr busybox-static containerd containernetworking-plugins crun docker-registry erofs-utils iproute2 \
	iptables libseccomp2 mmdebstrap nftables openssl podman python3-venv qemu-system-x86 qemu-utils runc skopeo strace \
	uidmap umoci

# A run of pytest, whose results are kept under the name $(1) for the summary of `make test`.
RUNS := results/runs
run = $(BIN)/pytest -q --junitxml=$(RUNS)/$(1).xml

# Without what itself compares two daemons or swaps parts; and without what a second client would only repeat.
ONE_DAEMON := not side_by_side and not joints
NOT_TWICE := $(ONE_DAEMON) and not limits

# What only the proof with Vagrant needs; three hundred packages with all that they want.
VAGRANT := dnsmasq-base libvirt-clients libvirt-daemon-driver-qemu libvirt-daemon-system rsync vagrant vagrant-libvirt

# Install those of the Debian packages $(1) that are not there, with the options $(2) of apt-get.
define debian
@missing=$$(for name in $(1); do \
    dpkg-query -W -f='$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || echo $$name; done); \
if [ -n "$$missing" ] && [ $$(id -u) != 0 ]; then echo "root must install: apt-get install" $$missing >&2; exit 1; fi; \
if [ -n "$$missing" ]; then \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2) $$missing; fi
endef

.NOTPARALLEL:  # what may run beside each other, `test` knows
.PHONY: install check demo test conformance conformance-report docs bench guest power side-by-side vagrant clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(call debian,$(DEBIAN),--no-install-recommends)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[docs,test]'
	$(BIN)/python -m compileall -q minicontainerd conformance bench
	touch $@

demo: install
	$(BIN)/python -m conformance.demo

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy minicontainerd tests conformance bench vm
	$(BIN)/lint-imports
	$(call run,units) --vm=never

# Each test of a seam is asked of the real software and then of ours; a test that the real one fails is wrong.
# What this host lacks (pure cgroup v2, AppArmor, SELinux), a test finds in a guest; see vm/.
CONFORMANCE := runtime-runc runtime-minirunc daemon-containerd daemon-ours daemon-containerd-minictr daemon-ours-minictr \
	layers crash cni-debian cni-ours
.PHONY: $(CONFORMANCE)

conformance: $(CONFORMANCE)

# Minutes in a guest; that runc passes them, conformance-report sees. Deselected and not ignored, for a deviation that
# names no test is an error.
LONG := checkpoint selinux systemd

runtime-runc: install
	$(call run,$@) conformance/runtime --runtime=runc $(LONG:%=--deselect=conformance/runtime/test_%.py)
runtime-minirunc: install
	$(call run,$@) conformance/runtime --runtime=minirunc

daemon-containerd: install
	$(call run,$@) conformance/daemon --target=containerd
daemon-ours: install
	$(call run,$@) conformance/daemon --target=minicontainerd -k '$(ONE_DAEMON)'
daemon-containerd-minictr: install
	$(call run,$@) conformance/daemon --target=containerd --client=minictr -k '$(NOT_TWICE)'
daemon-ours-minictr: install
	$(call run,$@) conformance/daemon --target=minicontainerd --client=minictr -k '$(NOT_TWICE)'

layers crash: install
	$(call run,$@) conformance/$@

cni-debian: install
	$(call run,$@) conformance/cni --plugins=/usr/lib/cni
cni-ours: install
	$(call run,$@) conformance/cni --plugins=minicontainerd --target=minicontainerd

# Runs side by side, clause by clause: one is kept under the name $(1). What fails in one does not end the others: the
# report says it, and fails. Runs of your own fit in beside these. Forty minutes where there is no KVM.
RESULTS = results/$@
record = -$(BIN)/pytest -q --record=$(RESULTS)/$(1).json
report = $(BIN)/python -m conformance.report $(RESULTS)/*.json --html $(RESULTS)/report.html

# The runtime seam on three runtimes and two kinds of host.
conformance-report: install
	rm -rf $(RESULTS)
	$(call record,runc-here) conformance/runtime --runtime=runc --vm=never
	$(call record,minirunc-here) conformance/runtime --runtime=minirunc --vm=never
	$(call record,runc-guest) conformance/runtime --runtime=runc --in-vm -n 2
	$(call record,crun-guest) conformance/runtime --runtime=crun --in-vm -n 2
	$(call record,minirunc-guest) conformance/runtime --runtime=minirunc --in-vm -n 2
	$(report)

# containerd and runc, and ours, each in a guest restored from the same moment.
side-by-side: install
	rm -rf $(RESULTS)
	$(call record,runc) conformance/runtime --runtime=runc --in-vm -n 2
	$(call record,minirunc) conformance/runtime --runtime=minirunc --in-vm -n 2
	$(call record,containerd) conformance/daemon --target=containerd -k '$(ONE_DAEMON)' --in-vm -n 2
	$(call record,minicontainerd) conformance/daemon --target=minicontainerd -k '$(ONE_DAEMON)' --in-vm -n 2
	$(report)

# What crun is asked every time, in three minutes; all of it by `make conformance-report`.
CRUN := lifecycle filesystem isolation process resources device_rules attacks

# The guest's own tests, and what a host with version 1 beside version 2 cannot show: crun at all, ours on such a host.
GUEST := guest-itself guest-runtime-crun guest-runtime-minirunc guest-power
.PHONY: saved $(GUEST)

guest: $(GUEST)

saved: install
	$(BIN)/python -m vm save
guest-itself: saved
	$(call run,$@) vm -k 'not zfs'
guest-runtime-crun: saved
	$(call run,$@) $(addprefix conformance/runtime/test_,$(addsuffix .py,$(CRUN))) --in-vm -n 2 --runtime=crun
guest-runtime-minirunc: saved
	$(call run,$@) conformance/runtime/test_lifecycle.py --in-vm --runtime=minirunc
guest-power: saved
	$(call run,$@) conformance/power

# The power cut a hundred times, about an hour without KVM; an eternity of other moments with SEED=2, 3, ...
power: install
	$(BIN)/pytest -s -q conformance/power --cuts=$(or $(CUTS),100) --seed=$(or $(SEED),1)

# `vagrant up` on our own box, with a libvirtd of its own, and the part of the suite that SUITE names in the machine.
vagrant: install
	$(call debian,$(VAGRANT))
	mkdir -p results
	set -o pipefail; BOX=$$($(BIN)/python -m vm box) \
	    SUITE="$(or $(SUITE),conformance/runtime/test_lifecycle.py --runtime=minirunc)" \
	    vm/private-libvirt.sh bash -c 'vagrant up --no-tty --provider=libvirt; code=$$?; \
	        vagrant destroy --force --no-tty; exit $$code' 2>&1 | tee results/vagrant.log
	grep -q ' passed' results/vagrant.log

# Side by side with the real containerd, ten minutes. Rewrites the numbers in the book: commit them if you mean to.
bench: install
	$(BIN)/python -m bench --to docs/bench

docs: install
	$(BIN)/sphinx-build -q -n -W -b html docs docs/_build/html

# Two halves beside each other, for each leaves a core half idle. Namespaces of networks are the first half's alone: a
# test that sees one of somebody else would take it for its own. Guests are the second's, but for a few.
FIRST := runtime-runc runtime-minirunc cni-debian cni-ours
SECOND := $(filter-out $(FIRST),$(CONFORMANCE)) $(GUEST)
go-on = $(MAKE) --keep-going

# A run that fails does not end the others, and whatever fails, the summary is the last thing to be read.
test: export MINICONTAINERD_PATIENCE ?= 2
test:
	rm -rf $(RUNS)
	mkdir -p $(RUNS)
	status=0; $(go-on) check docs saved || status=$$?; \
	$(go-on) $(SECOND) > $(RUNS)/second.log 2>&1 & second=$$!; \
	$(go-on) $(FIRST) || status=$$?; \
	wait $$second || status=$$?; \
	cat $(RUNS)/second.log; \
	$(BIN)/python -m conformance.summary $(RUNS) && exit $$status

clean:
	rm -rf .venv docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
