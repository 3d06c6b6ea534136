/**
 * Makes the binaries of the addon (`--write`), or checks those in the checkout: that they are of these sources, ask for no newer C library than Node.js 20 does, and are what
 * this compiler makes of the sources, where it is the compiler that they were made with. Also compares our declarations with the headers of libibverbs (`--abi`).
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  checkAbi,
  compileAddon,
  compilerOf,
  libcVersions,
  prebuild,
  sourcesHash,
  type Target,
  targets,
} from '../support/native-build.ts'

/** Of 2012; older than any system that runs Node.js 20. */
const libcMax = '2.17'

const write = process.argv.includes('--write')
const folder = mkdtempSync(join(tmpdir(), 'native-'))
const faults: string[] = []
try {
  for (const target of targets) {
    if (process.argv.includes('--abi')) abi(target)
    else check(target)
  }
} finally {
  rmSync(folder, { recursive: true })
}
for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exitCode = 1

function check(target: Target): void {
  const built = join(folder, `${target}.node`)
  const committed = prebuild(target)
  compileAddon(target, built)
  if (write) copyFileSync(built, committed)
  const binary = readFileSync(committed)
  const libc = libcVersions(committed)
  console.log(
    `${target}: ${statSync(committed).size} bytes, libc ${libc.join(' ')}, ${compilerOf(committed)}`,
  )
  if (!binary.includes(sourcesHash())) {
    faults.push(`${target}: made of other sources; run npm run build:native`)
  }
  if (libc.some((version) => Number(version.split('.')[1]) > Number(libcMax.split('.')[1]))) {
    faults.push(`${target}: asks for a C library newer than ${libcMax}`)
  }
  if (compilerOf(built) !== compilerOf(committed)) {
    console.log(`${target}: bytes not compared, this compiler is ${compilerOf(built)}`)
  } else if (!readFileSync(built).equals(binary)) {
    faults.push(`${target}: this compiler makes other bytes of the same sources`)
  }
}

function abi(target: Target): void {
  checkAbi(target)
  console.log(`${target}: as in <infiniband/verbs.h>`)
}
