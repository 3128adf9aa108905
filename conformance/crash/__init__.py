"""What a crash may not do: lose what was acknowledged, leave what nobody owns, or make a step impossible to repeat.

These tests are for our own daemon alone, for they need a way into it (linux/faults.py). They take minutes, so the
numbers are options: few for every day, ``--kills=200 --lives=2000 --every=1`` for the whole truth.
"""
