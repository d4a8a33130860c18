"""The addresses by which the processes find each other."""

import os

BROKER = os.environ.get("MQCTX_BROKER_URL", "amqp://guest:guest@127.0.0.1/")
PARTNER = os.environ.get("PARTNER_URL", "http://127.0.0.1:8001")
# Several runs may share a broker.
RUN = os.environ.get("ORDERS_RUN", "orders")
JOURNEYS = f"{RUN}.journeys"
BILLING, SHIPPING, MAIL = f"{RUN}.billing", f"{RUN}.shipping", f"{RUN}.mail"
