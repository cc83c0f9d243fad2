#!/bin/bash
# layout_test.sh SOURCE: checks what configuring for Debian packages decides, without building them: their names and
# descriptions, and ddpm.pc. scripts/test-packages.sh builds and installs them.
set -eu -o pipefail
source=$1
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# configure OPTION…
configure() {
    "${CMAKE:-cmake}" -S "$source" -B "$build" -DDDPM_BUILD_TESTS=OFF -DDDPM_CUDA=OFF -DDDPM_PACKAGE=DEB "$@" \
        >"$build/log" 2>&1
}

if configure -DCMAKE_INSTALL_PREFIX=/opt/ddpm; then
    fail "Debian packages in /opt were not refused"
fi
tr -s ' \n' ' ' <"$build/log" | grep -q 'got the prefix /opt/ddpm, want -DCMAKE_INSTALL_PREFIX=/usr' || fail "no reason"

rm -rf "${build:?}"/*
DEBFULLNAME='Ada Example' DEBEMAIL=ada@example.org configure -DCMAKE_INSTALL_PREFIX=/usr ||
    { cat "$build/log"; fail "configuring"; }
config=$build/CPackConfig.cmake
grep -q 'CPACK_PACKAGE_CONTACT "Ada Example <ada@example.org>"' "$config" ||
    fail "DEBFULLNAME and DEBEMAIL do not count"
for package in ddpm libddpm0.2 libddpm-dev; do
    grep -q "PACKAGE_NAME \"$package\"" "$config" || fail "no package $package"
done
grep -q 'CPACK_PACKAGE_DESCRIPTION_SUMMARY ""' "$config" || fail "one summary would be every package's first line"
summaries=$(sed -n 's/^set(CPACK_COMPONENT_[A-Z]*_DESCRIPTION "//p' "$config")
[ "$(wc -l <<<"$summaries")" -ge 3 ] || fail "got these summaries: $summaries"
[ -z "$(sort <<<"$summaries" | uniq -d)" ] || fail "two packages have the same summary: $summaries"

lines=$(sed -n '/^set(CPACK_COMPONENT_[A-Z]*_DESCRIPTION "/,/")$/p' "$config" | sort | uniq -d)
[ -z "$lines" ] || fail "two packages have the same description line: $lines"

# ddpm.pc names neither the system's folders, which programs find anyway, nor a folder of this build.
if command -v pkg-config >/dev/null; then
    flags=$(PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=$build pkg-config --cflags --libs ddpm | xargs)
    [ "$flags" = -lddpm ] || fail "pkg-config: got \"$flags\", want \"-lddpm\""
fi
if grep '^Libs.private:.*-L' "$build/ddpm.pc"; then
    fail "ddpm.pc names a folder for static linking"
fi
echo "layout of Debian packages: good"
