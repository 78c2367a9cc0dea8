# SPDX-License-Identifier: MIT
# Floating point and big data structures in an interpreter. Twelve digits,
# since a libm may take a fused multiply-add where the CPU has one.
use strict;
use warnings;

my ($sum, $x) = (0, 0.5);
for my $i (1 .. 100_000) {
	$x = 3.7 * $x * (1 - $x) if $i <= 40;
	$sum += sqrt($i) * sin($i / 7) / (1 + exp(-$i / 5000));
}
printf "perl float: %.10g %.10g\n", $sum, $x;

my $pi = 0;
$pi += (($_ & 1) ? -4 : 4) / (2 * $_ + 1) for 0 .. 100_000;
printf "perl pi: %.12f\n", $pi;

my %words;
$words{ ($_ * 2654435761) % 4093 } += $_ for 1 .. 60_000;
my $digest = 0;
$digest = ($digest * 31 + $words{$_}) % 1_000_000_007 for sort { $a <=> $b } keys %words;
print "perl hash: $digest\n";

my $text = join ' ', map { sprintf '%x', $_ * $_ } 1 .. 5000;
my $count = () = $text =~ /(\d)[a-f]\1/g;
print "perl regex: $count\n";
print "perl pack: ", unpack('H*', pack('d<f<q<', 1 / 3, 1 / 7, -12345678901)), "\n";
