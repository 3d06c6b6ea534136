/** How this package names itself to origins. A test compares the version with `package.json`. */
export const userAgent: string = 'dragonfly-peer/0.1.0'
