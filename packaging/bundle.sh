#!/usr/bin/env bash
# bundle.sh PREFIX LIBDIR: copy into PREFIX/LIBDIR the libraries that the installed program and library need and that
# not every system has, with their licences. The C library and the compiler's libraries come from the system.
set -eu -o pipefail
libraries=$1/$2

own='^(linux-vdso|ld-linux[a-z0-9-]*|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+))\.so'
ldd "$1/bin/ddpm" "$libraries"/libddpm.so.* | awk '$2 == "=>" { print $3 }' | sort -u | while read -r file; do
  name=$(basename "$file")
  [[ $name =~ $own ]] && continue
  cp -L "$file" "$libraries/$name"
  package=$(dpkg-query -S "*/$name" 2>/dev/null | head -n 1 | cut -d : -f 1)
  [ -n "$package" ] || { echo "bundle.sh: no package has $file, so its licence is not known" >&2; exit 1; }
  mkdir -p "$1/share/doc/ddpm/licences"
  cp -L "/usr/share/doc/$package/copyright" "$1/share/doc/ddpm/licences/$package"
done
