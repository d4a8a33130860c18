"""What is measured, one module each.

Every group has `PARTS`, each of which is measured in processes of its own; `UNIT`, one of
pyperf's; `measure(part, seconds)`; and `tables(results)`.
"""
