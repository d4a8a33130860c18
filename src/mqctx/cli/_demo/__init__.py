"""Two requests at once, whose orders cross two queues, each in its own context.

`story` says who asks for what, and `stage` where it plays. `on_kombu`, `on_pika` and
`on_aio_pika` are the services, each on one client; `check` judges what they recorded, and
`performance` is all of it.
"""
