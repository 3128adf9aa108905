#!/bin/sh
# What a machine of Vagrant's is given, by the Vagrantfile: the package from /src, and the suite, or what SUITE asks for.
set -eu
cd /src
if [ -x /opt/venv/bin/python ]; then # our own box: all that the package needs is there, and nothing is fetched
    bin=/opt/venv/bin
    $bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-index --no-deps --no-build-isolation --force-reinstall .
else
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends make
    make install
    bin=.venv/bin
fi
$bin/minirunc --version
export PATH="$PWD/${bin#"$PWD"/}:/usr/local/sbin:/usr/sbin:/sbin:$PATH" PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
case $bin in /*) PATH="$bin:$PATH" ;; esac
run() { $bin/python -m pytest -q -p no:cacheprovider --vm=never "$@"; }
if [ -n "${SUITE:-}" ]; then
    run $SUITE # shellcheck disable=SC2086: words of a command line
else
    run conformance/runtime --runtime=runc
    run conformance/runtime --runtime=minirunc
fi
