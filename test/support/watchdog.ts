/**
 * Loaded into each process that runs a test file (see `test/run.ts`): ends it when it does not end by itself. `--test-timeout` ends a test that hangs,
 * but from Node 24 on not a file whose tests are over while a socket or a thread is still open.
 */
const timeoutMs = Number(process.env['TEST_FILE_TIMEOUT_MS'])

if (process.env['NODE_TEST_CONTEXT'] !== undefined && timeoutMs > 0) {
  const end = (): void => {
    const open = process.getActiveResourcesInfo().join(', ')
    process.stderr.write(`Still running after ${timeoutMs} ms, open: ${open}\n`, () =>
      process.exit(1),
    )
  }
  setTimeout(end, timeoutMs).unref()
}
