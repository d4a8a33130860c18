// Publishes an order with a context, which a Python service with mqctx restores:
// npm install && node publish.js amqp://guest:guest@127.0.0.1/ orders

const amqp = require("amqplib");
const { randomBytes } = require("node:crypto");

async function publish(url, queue) {
  const context = { request_id: "r-1", user: "Zoë 😀, 100%", attempt: 2, tags: ["a", null] };
  const headers = {
    mqctx: JSON.stringify(context),
    // Baggage has no types. A Python service that declares `attempt` as int reads 2 all the same.
    baggage: `tenant=${encodeURIComponent("acme & sons")};vendor=x,attempt=${context.attempt}`,
    traceparent: `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`,
  };
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  channel.sendToQueue(queue, Buffer.from("3 books"), { headers });
  await channel.waitForConfirms();
  await connection.close();
  console.log(JSON.stringify(headers));
}

publish(...process.argv.slice(2));
