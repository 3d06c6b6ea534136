/**
 * Loaded before everything else (`node --import`), this gives peers the rules of the Rust client in place of ours, and nothing else: the choice of piece and parent, whom
 * it is taken from, and the order of uploads, each one module, are replaced when they are imported. The package has no switch for that.
 */
import { register } from 'node:module'

register('./fan-out-upstream-modules.js', import.meta.url)
