// Bytes on a stream of hyperdht's: hyperdhtbulk.js SERVER PORT a|b HOST
const DHT = require('hyperdht')
const crypto = require('crypto')
const readline = require('readline')

const CHUNK = crypto.randomBytes(1 << 18)

function say (what) {
  console.log(JSON.stringify(what))
}

async function main (host, port, side) {
  const node = new DHT({ bootstrap: [{ host, port: Number(port) }] })
  await node.fullyBootstrapped()
  const keyPair = DHT.keyPair()
  if (side === 'b') {
    const server = node.createServer(count)
    await server.listen(keyPair)
  }
  say({ key: keyPair.publicKey.toString('hex') })
  if (side === 'b') return
  let socket = null
  readline.createInterface({ input: process.stdin }).on('line', line => {
    const told = JSON.parse(line)
    if (told.key) socket = dial(node, Buffer.from(told.key, 'hex'))
    else send(socket, told.bytes)
  })
}

function dial (node, key) {
  const socket = node.connect(key)
  socket.on('open', () => say({ connected: true }))
  socket.on('error', error => say({ failed: error.code || String(error) }))
  return socket
}

function send (socket, bytes) {
  const began = process.hrtime.bigint()
  let left = bytes
  socket.once('data', () => {
    say({ seconds: Number(process.hrtime.bigint() - began) / 1e9 })
  })
  const head = Buffer.alloc(8)
  head.writeBigUInt64BE(BigInt(bytes))
  socket.write(head)
  function more () {
    while (left > 0) {
      const chunk = left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left)
      left -= chunk.length
      if (!socket.write(chunk)) {
        socket.once('drain', more)
        return
      }
    }
  }
  more()
}

function count (socket) {
  let left = null
  socket.on('error', () => {})
  socket.on('data', data => {
    if (left === null) {
      left = Number(data.readBigUInt64BE())
      data = data.subarray(8)
    }
    left -= data.length
    if (left <= 0) {
      left = null
      socket.write('!')
    }
  })
}

main(...process.argv.slice(2))
