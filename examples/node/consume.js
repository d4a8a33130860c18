// Takes one message off a queue and prints the context that a Python service with mqctx sent:
// npm install && node consume.js amqp://guest:guest@127.0.0.1/ orders

const amqp = require("amqplib");

function readBaggage(header) {
  const members = header.split(",").map((member) => {
    const [pair, ...properties] = member.split(";").map((part) => part.trim());
    const [key, ...value] = pair.split("=");
    const text = decodeURIComponent(value.join("="));
    return [key, properties.includes("mqctx=json") ? JSON.parse(text) : text];
  });
  return Object.fromEntries(members);
}

async function consume(url, queue) {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  const message = await channel.get(queue, { noAck: true });
  const { mqctx = "{}", baggage, traceparent } = message.properties.headers;
  await connection.close();
  const [, traceId, parentId] = (traceparent ?? "").split("-");
  const context = JSON.parse(mqctx);
  console.log(JSON.stringify({ context, baggage: readBaggage(baggage), traceId, parentId }));
}

consume(...process.argv.slice(2));
