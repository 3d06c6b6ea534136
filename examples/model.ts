/**
 * A model goes from the network into memory and to work at once: it reads a line of text. No file is written on the way.
 *
 *   node build/examples/model.js
 */
import { readFile } from 'node:fs/promises'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'

await using peer = await Peer.start({ store: 'memory' })
const model = await InferenceSession.create(await peer.download(input).bytes())
const alphabet = (await readFile(new URL('ppocr_keys_v1.txt', input), 'utf8')).split('\n')

// White paper in three colours, with three letters of black dots.
const letters = [
  ['####.', '#...#', '#...#', '####.', '#....', '#....', '#....'],
  ['.###.', '#...#', '....#', '..##.', '.#...', '#....', '#####'],
  ['####.', '#...#', '#...#', '####.', '#....', '#....', '#....'],
]
const [height, width, dot] = [48, 320, 5]
const image = new Float32Array(3 * height * width).fill(1).map((white, at) => {
  const x = Math.floor(((at % width) - 20) / dot)
  const y = Math.floor(((Math.floor(at / width) % height) - 6) / dot)
  return letters[Math.floor(x / 6)]?.[y]?.[x % 6] === '#' ? -1 : white
})

const answers = await model.run({ x: new Tensor('float32', image, [1, 3, height, width]) })
const { data = new Float32Array(), dims: [, steps = 0, classes = 0] = [] } =
  Object.values(answers)[0] ?? {}
const best = Array.from({ length: steps }, (_, step) => {
  const scores = data.subarray(step * classes, (step + 1) * classes)
  return scores.indexOf(Math.max(...scores))
})
// One letter is seen in several steps, and class 0 stands between letters.
const seen = best.filter((found, step) => found !== 0 && found !== best[step - 1])
console.log(`The model reads: ${seen.map((found) => alphabet[found - 1]).join('')}`)
