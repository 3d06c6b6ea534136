/** Longest part of a piece that one READ fetches: enough for the card to run at full speed, short enough for bytes to be digested while others are on their way. */
export const readBytesMax: number = 4 * 1024 * 1024
/** Shortest part, but for the end of a piece. */
export const readBytesLeast: number = 1024 * 1024
/** READs of one connection on their way at most; the device may allow fewer. What a queue pair can begin at a time ends at 16 (`max_rd_atomic`). */
export const readsOutMax = 16
/** Bytes of one connection on their way at most. */
export const windowBytesMax: number = 32 * 1024 * 1024
/** Slabs that one piece may have in use at most, on its way into memory that is not registered. */
export const bouncesMax = 8
/** Longest registration. Longer memory is registered in several blocks, each when it is first needed. */
export const blockBytesMax: number = 1024 * 1024 * 1024
/** Registrations kept at most, on each side. Those that nobody uses make room. */
export const registrationsMax = 4096
/** Connections to parents at most; the one not used for longest makes room. Each costs a queue pair here and there. */
export const parentConnectionsMax = 512
/** Parents of which it is known that they have no RDMA, or fail, at most. */
export const standingsMax = 4096

/** Queue pairs for children at most. */
export const childConnectionsMax = 1024
/** Queue pairs for children at one address at most; those without a lease make room. */
export const childConnectionsPerCallerMax = 64
/** Leases of one connection at most. */
export const leasesPerConnectionMax = 256
/** Pieces of one connection that are leased at the same time at most. */
export const leasedPiecesMax = 2048
/** Requests of one connection that wait at the same time at most; the next one is refused. */
export const waitingGrantsMax = 256
/** Pieces that one request may name. */
export const requestPiecesMax = 64
/** How often a lease may be renewed in all, in milliseconds from its beginning: a child that never ends must not hold memory for ever. */
export const leaseLifetimeMsMax = 600_000
/** Longest time to live that a child believes. */
export const ttlMsMax = 3_600_000
/** Characters that the id of a lease may have. */
export const leaseIdLengthMax = 64

/** Time to live of a lease, in milliseconds. The child renews it while it reads. */
export const leaseTtlMs = 10_000
/** How many pieces a child asks for ahead: as many as one call costs less than the reading of one. Pieces are asked for by blocks of this many numbers. */
export const aheadCount = 32
/** How long pieces that were leased ahead are kept while nobody takes one, in milliseconds; up to twice as long. */
export const leaseIdleMs = 1000
/** How long a parent has for an answer that waits for nothing, in milliseconds. */
export const answerTimeoutMs = 2000
/** How long a connection without work is kept by the child, in milliseconds. */
export const idleTimeoutMs = 30_000
/** How long a connection without a lease is kept by the parent, in milliseconds: longer than by the child. */
export const childIdleTimeoutMs = 90_000
/** How long memory stays registered for the next reader, in milliseconds. */
export const lingerMs = 5000
/** How long memory stays registered to be read into, in milliseconds. A download that is slower registers it anew. */
export const importLingerMs = 60_000
/** How long a device that cannot be used now is left alone, in milliseconds. */
export const reopenMs = 30_000
/** First time without RDMA to a parent that failed, in milliseconds; doubled each time. */
export const backOffMs = 1000
/** Longest time without RDMA to a parent that failed, in milliseconds. */
export const backOffMsMax = 300_000
/** How long a parent that said that it has no RDMA is not asked again, in milliseconds. */
export const withoutRdmaMs = 3_600_000
