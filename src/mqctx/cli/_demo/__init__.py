"""Two requests at once, whose orders cross two queues, each in its own context.

`story` has the requests, and `stage` the queues. `on_kombu`, `on_pika` and `on_aio_pika` are the
services, each on one client; `check` judges their records. In `dead_letter` an order fails, is
looked at and sent back. `performance` runs it all.
"""
