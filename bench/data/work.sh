# SPDX-License-Identifier: MIT
# Work for bash: arithmetic, strings, functions; no processes.
f() {
	local x=$1
	while [ "$x" != 1 ]; do
		if ((x % 2)); then x=$((3 * x + 1)); else x=$((x / 2)); fi
		n=$((n + 1))
	done
}
n=0
for i in {1..200}; do
	f "$i"
	s="${s: -20}$i"
	case $s in *7) t=${s/1/2} ;; *) t=$s ;; esac
done
echo "$n $t"
