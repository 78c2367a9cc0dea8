# SPDX-License-Identifier: MIT
# Work for perl: words, hashes, regular expressions, sorting.
use strict;
my (%count, $x);
$x = 1;
for my $i (1 .. 60000) {
	$x = ($x * 1103515245 + 12345) % 2147483648;
	my $w = "word" . ($x % 1000);
	$count{$w}++;
	$count{"odd"}++ if $w =~ /[13579]$/;
	$w =~ s/(\d)(\d)/$2$1/;
	$count{$w} .= "" if length($w) > 6;
}
my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$top[$_] $count{$top[$_]}\n" for 0 .. 9;
