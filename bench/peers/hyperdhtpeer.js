// One side of a pair: hyperdhtpeer.js SERVER PORT a|b PUBLIC
const DHT = require('hyperdht')
const readline = require('readline')

function say (what) {
  console.log(JSON.stringify(what))
}

async function main (host, port, side) {
  const node = new DHT({ bootstrap: [{ host, port: Number(port) }] })
  await node.fullyBootstrapped()
  const keyPair = DHT.keyPair()
  if (side === 'b') {
    const server = node.createServer(socket => {
      socket.on('error', () => {})
      socket.on('data', data => socket.write(data))
    })
    await server.listen(keyPair)
  }
  say({ key: keyPair.publicKey.toString('hex') })
  const lines = readline.createInterface({ input: process.stdin })
  lines.once('line', line => {
    if (side === 'b') return
    dial(node, Buffer.from(JSON.parse(line).key, 'hex'), process.hrtime.bigint())
  })
}

function dial (node, key, began) {
  const socket = node.connect(key)
  let open = null
  socket.on('open', () => {
    open = Number(process.hrtime.bigint() - began) / 1e9
    socket.write('x')
  })
  socket.on('data', () => say({ connected: true, direct: true, seconds: open }))
  socket.on('error', error => {
    say({ failed: error.code || String(error) })
    if (open === null) setTimeout(() => dial(node, key, began), 1000)
  })
}

main(...process.argv.slice(2))
