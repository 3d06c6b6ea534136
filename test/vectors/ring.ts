/** Where addresses lie on the ring. Made with Rust 1.95 and its hash of socket addresses. */
export const ringPoints: readonly { readonly address: string; readonly point: bigint }[] = [
  { address: '127.0.0.1:8002', point: 0x2c30ce45aaaf7546n },
  { address: '10.0.0.1:8002', point: 0x9948a09af7ec8deen },
  { address: '10.0.0.2:8002', point: 0x3c5a35daa4177512n },
  { address: '192.168.1.10:8002', point: 0x66bb86f995f476can },
  { address: '255.255.255.255:65535', point: 0xdee32ad3f382a011n },
  { address: '[::1]:8002', point: 0x3f52c1d091552b23n },
  { address: '[::]:80', point: 0x8da594fe51d67c08n },
  { address: '[fe80::1]:1', point: 0x115676a7890b4055n },
  { address: '[1:2:3:4:5:6:7:8]:8002', point: 0x693f7ecf7080e4f6n },
  { address: '[2001:db8::a:0:1]:65535', point: 0xcb96e817724ee135n },
  { address: '[2001:DB8:0:0:1:0:0:1]:443', point: 0x508506863c73f492n },
  { address: '[::ffff:192.168.1.10]:8002', point: 0x2cd8b3fe8704b2e3n },
]

/** Where tasks lie on the ring, by the first five characters of the id. Made with Rust 1.95. */
export const ringKeys: readonly { readonly start: string; readonly key: bigint }[] = [
  { start: '00000', key: 0x32266d2bbc957c60n },
  { start: 'abcde', key: 0xf4cdb0a996a23a5en },
  { start: 'c71d2', key: 0x5ee128f250edbe90n },
  { start: 'ffeca', key: 0x9fcd6348612bcbb1n },
  { start: '457b4', key: 0xa96e1294e304728dn },
]

/** SipHash-2-4 with the key bytes 00 to 0f over the bytes 00, 01, 02 …; the position in this list is the length of the input. */
export const sipHashes: readonly bigint[] = [
  0x726fdb47dd0e0e31n,
  0x74f839c593dc67fdn,
  0x0d6c8009d9a94f5an,
  0x85676696d7fb7e2dn,
  0xcf2794e0277187b7n,
  0x18765564cd99a68dn,
  0xcbc9466e58fee3cen,
  0xab0200f58b01d137n,
  0x93f5f5799a932462n,
  0x9e0082df0ba9e4b0n,
  0x7a5dbbc594ddb9f3n,
  0xf4b32f46226bada7n,
  0x751e8fbc860ee5fbn,
  0x14ea5627c0843d90n,
  0xf723ca908e7af2een,
  0xa129ca6149be45e5n,
  0x3f2acc7f57c29bdbn,
  0x699ae9f52cbe4794n,
]
