"""How fast is it, next to the real thing? ``make bench``.

Absolute times say more about the machine than about the program, and on a shared machine they say something else an
hour later. So everything is measured side by side: Debian's containerd and ours run at the same time, the same stock
``ctr`` asks one and then the other, round after round, and what counts is the ratio of the two medians.

=========== =============================================================================================
series      rounds that alternate, medians, ratios
subjects    what is measured: runs, execs, pulls, crowds, memory
networks    and what it takes to attach to a network, beside the reference plugins
profile     where the time of one run goes, by the steps of the explain trace
report      a table, and a picture of it
__main__    all of it, and where the results are saved
=========== =============================================================================================
"""
