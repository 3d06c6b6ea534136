/**
 * Makes the binaries of the addons (`--write`), or checks those in the checkout: that they are of these sources, ask for no newer C library than Node.js 20 does, and are what
 * this compiler makes of the sources, where it is the compiler that they were made with. Also compares our declarations with the headers of libibverbs (`--abi`).
 */
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type AddonName,
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
    else for (const addon of ['rdma', 'flow'] as const) check(target, addon)
  }
} finally {
  rmSync(folder, { recursive: true })
}
for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exitCode = 1

function check(target: Target, addon: AddonName): void {
  const built = join(folder, `${addon}-${target}.node`)
  const committed = prebuild(target, addon)
  const what = `${addon} ${target}`
  compileAddon(target, built, undefined, [], addon)
  if (write) replace(built, committed)
  const binary = readFileSync(committed)
  const libc = libcVersions(committed)
  console.log(
    `${what}: ${statSync(committed).size} bytes, libc ${libc.join(' ')}, ${compilerOf(committed)}`,
  )
  if (!binary.includes(sourcesHash(addon))) {
    faults.push(`${what}: made of other sources; run npm run build:native`)
  }
  if (libc.some((version) => Number(version.split('.')[1]) > Number(libcMax.split('.')[1]))) {
    faults.push(`${what}: asks for a C library newer than ${libcMax}`)
  }
  if (compilerOf(built) !== compilerOf(committed)) {
    console.log(`${what}: bytes not compared, this compiler is ${compilerOf(built)}`)
  } else if (!readFileSync(built).equals(binary)) {
    faults.push(`${what}: this compiler makes other bytes of the same sources`)
  }
}

/** As a new file: a process that has the old one loaded would crash if its bytes changed. */
function replace(built: string, committed: string): void {
  copyFileSync(built, `${committed}.new`)
  renameSync(`${committed}.new`, committed)
}

function abi(target: Target): void {
  checkAbi(target)
  console.log(`${target}: as in <infiniband/verbs.h>`)
}
