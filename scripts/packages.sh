#!/bin/sh
# Install the Debian packages named, where this is Debian and we are root; else say what is missing.
# Never an error: what cannot be had is skipped by the tests, with the reason.
command -v dpkg-query >/dev/null || exit 0
missing=
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
  echo "installing$missing"
  { apt-get -qq update && apt-get -qq install --no-install-recommends -y $missing; } >/dev/null ||
    echo "could not install$missing; what needs them is skipped" >&2
else
  echo "not installed:$missing (as root: apt-get install$missing)" >&2
fi
exit 0
