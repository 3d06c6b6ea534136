// Connect's declarations name this type of the DOM library, which @types/node 20 does not declare.
type HeadersInit = import('undici-types').HeadersInit
