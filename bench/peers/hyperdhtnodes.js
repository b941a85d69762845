// The nodes of a DHT of our own: hyperdhtnodes.js HOST OTHER PORT
const DHT = require('hyperdht')

async function main (host, other, port) {
  await DHT.bootstrapper(Number(port), host, { host }).fullyBootstrapped()
  const bootstrap = [{ host, port: Number(port) }]
  for (let n = 1; n <= 4; n++) {
    const node = new DHT({
      bootstrap, host: other, port: Number(port) + n, ephemeral: false, firewalled: false
    })
    await node.fullyBootstrapped()
  }
  console.log('{}')
}

main(...process.argv.slice(2))
