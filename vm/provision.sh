#!/bin/sh
# What a machine of Vagrant's is given, by the Vagrantfile: the package from /src, and the suite, or what SUITE asks for.
set -eu
cd /src
if [ -x /opt/venv/bin/python ]; then # our own box: all that the package needs is there, and nothing is fetched
    bin=/opt/venv/bin
    "$bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-index --no-deps --no-build-isolation --force-reinstall .
else
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends make
    make install
    bin=$PWD/.venv/bin
fi
export PATH="$bin:/usr/local/sbin:/usr/sbin:/sbin:$PATH"
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 # plugins that nobody asked for take seconds to import in an interpreted guest
minirunc --version
run() { "$bin/python" -m pytest -q -p no:cacheprovider --vm=never "$@"; }
if [ -n "${SUITE:-}" ]; then
    # shellcheck disable=SC2086 # words of a command line
    run $SUITE
else
    run conformance/runtime --runtime=runc
    run conformance/runtime --runtime=minirunc
fi
