#!/bin/bash
# The installed library from outside: install_test.sh SOURCE BUILD LIBDIR
# Installs to BUILD/install-test, builds the examples with CMake and with pkg-config, shared and static, runs them with
# tiny settings, and looks at what the shared library exports.
set -euo pipefail
source=$1 build=$2 libdir=$3
work=$build/install-test
prefix=$work/prefix

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

rm -rf "$work"
mkdir -p "$work"
"${CMAKE:-cmake}" --install "$build" --prefix "$prefix" >"$work/install.log"
for file in include/ddpm/ddpm.h "$libdir/libddpm.so" "$libdir/libddpm.a" "$libdir/pkgconfig/ddpm.pc" \
    "$libdir/cmake/ddpm/ddpm-config.cmake" bin/ddpm share/man/man1/ddpm.1 share/man/man1/ddpm-train.1 \
    share/bash-completion/completions/ddpm share/fish/vendor_completions.d/ddpm.fish; do
    [ -e "$prefix/$file" ] || fail "$file was not installed"
done
if grep -rlF "$source" "$prefix/$libdir/pkgconfig" "$prefix/$libdir/cmake"; then
    fail "the files above name the source folder"
fi
"$prefix/bin/ddpm" --help >/dev/null || fail "the installed program does not run"

# The library exports exactly what the headers declare DDPM_API.
declared=$(sed 's/^ *\*.*//' "$source"/include/ddpm/*.h | tr '\n' ' ' | grep -o 'DDPM_API[^;(]*(' |
    grep -o 'ddpm_[a-z0-9_]*($' | tr -d '(' | sort -u)
exported=$(nm -D --defined-only "$prefix/$libdir/libddpm.so" | awk '{print $3}' | grep -v '^__\(asan\|odr\)' | sort -u)
[ "$declared" = "$exported" ] ||
    fail "declared and exported differ: $(diff <(echo "$declared") <(echo "$exported") | grep '^[<>]' | tr '\n' ' ')"
readelf -d "$prefix/$libdir/libddpm.so" | grep -q 'SONAME.*libddpm\.so\.[0-9]' || fail "no versioned SONAME"

# Moved elsewhere, everything must still be found: no file may contain the prefix.
mv "$prefix" "$work/moved"
prefix=$work/moved
if command -v pkg-config >/dev/null; then # no other development package may be needed for the shared library
    found=$(PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=$prefix/$libdir/pkgconfig pkg-config --cflags --libs ddpm) ||
        fail "pkg-config wants more than ddpm.pc"
    [[ $found == *-Wl,-rpath,* ]] || fail "programs would not find the library: $found"
fi
readelf -d "$prefix/bin/ddpm" | grep -q "R.*PATH.*\$ORIGIN/../$libdir" || fail "ddpm does not look beside itself"
flags=""
[ "${DDPM_SANITIZE:-OFF}" = ON ] && flags="-fsanitize=address,undefined"

"${CMAKE:-cmake}" -S "$source/examples" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS="$flags" \
    >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; fail "find_package(ddpm) did not work"; }
"${CMAKE:-cmake}" --build "$work/cmake" >>"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; fail "CMake build"; }
[ -x "$work/cmake/train_and_sample_static" ] || fail "ddpm::static was not found"

programs=("$work/cmake/train_and_sample" "$work/cmake/train_and_sample_static")
if [ -x "${MAKE:-}" ]; then
    unset PKG_CONFIG_PATH
    for kind in shared static; do
        mkdir -p "$work/make-$kind"
        "$MAKE" -C "$source/examples" PKG_CONFIG_PATH="$prefix/$libdir/pkgconfig" OUT="$work/make-$kind" \
            CC="${CC:-cc}" CFLAGS="-O1 -Wall -Wextra -Werror $flags" \
            $([ $kind = static ] && echo STATIC=1) >"$work/make-$kind.log" 2>&1 ||
            { cat "$work/make-$kind.log"; fail "make, $kind"; }
        programs+=("$work/make-$kind/train_and_sample")
    done
    if ldd "$work/make-static/train_and_sample" | grep -q libddpm; then
        fail "STATIC=1 linked the shared library"
    fi
else
    echo "no make here: the Makefile was not tried"
fi

unset LD_LIBRARY_PATH # installed, the library is found where it is, without ldconfig
export OMP_WAIT_POLICY=passive
cd "$work"
for program in "${programs[@]}"; do
    "$program" 3 "$work/out.ppm" >"$work/run.log" 2>&1 || { cat "$work/run.log"; fail "$program"; }
    [ "$(head -c 10 out.ppm | tr '\n' ' ')" = "P6 128 16 " ] || fail "$program wrote no picture"
    [ "$(stat -c %s out.ppm)" -ge 6144 ] || fail "$program wrote a short picture"
    mv out.ppm last.ppm
    [ ! -e first.ppm ] && cp last.ppm first.ppm
    cmp first.ppm last.ppm || fail "$program drew another picture than the first program"
done

# Two models at once; then one of them is missing.
mkdir -p pictures
"$prefix/bin/ddpm" synth --out pictures --count 8 --size 16 >"$work/synth.log" 2>&1 ||
    { cat "$work/synth.log"; fail "ddpm synth"; }
for network in OneResUNet AttentionUNet; do
    "$prefix/bin/ddpm" train --data pictures --out "run-$network" --network $network --dim 8 --dim-mults 1,2 \
        --image-size 16 --batch-size 2 --steps 2 --timesteps 25 --sample-every 0 >"$work/train.log" 2>&1 ||
        { cat "$work/train.log"; fail "ddpm train"; }
done
"$work/cmake/embed_generator" 2 run-OneResUNet run-AttentionUNet >"$work/embed.log" 2>&1 ||
    { cat "$work/embed.log"; fail "embed_generator"; }
for picture in model-{0,1}-picture-{0,1}.ppm; do
    [ "$(head -c 2 "$picture")" = P6 ] || fail "$picture was not drawn"
done
if "$work/cmake/embed_generator" 1 run-OneResUNet no-such-run >"$work/embed.log" 2>&1; then
    fail "embed_generator accepted a run that does not exist"
fi
grep -q 'no-such-run: input/output error: ' "$work/embed.log" || { cat "$work/embed.log"; fail "no text of the failure"; }
echo "installed library, CMake package, pkg-config, both examples: good"
