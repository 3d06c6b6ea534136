import ts from 'typescript'

/** The members of one interface of a source file: name → fields of its object type → whether the field is optional. */
export function interfaceFacts(
  text: string,
  interfaceName: string,
): Map<string, Map<string, boolean>> {
  const file = ts.createSourceFile('source.ts', text, ts.ScriptTarget.Latest, false)
  const declared = file.statements
    .filter(ts.isInterfaceDeclaration)
    .find(({ name }) => name.text === interfaceName)
  if (declared === undefined) throw new Error(`There is no interface ${interfaceName}`)
  const members = new Map<string, Map<string, boolean>>()
  for (const member of declared.members.filter(ts.isPropertySignature)) {
    const fields = new Map<string, boolean>()
    if (member.type !== undefined && ts.isTypeLiteralNode(member.type)) {
      for (const field of member.type.members.filter(ts.isPropertySignature)) {
        fields.set(nameOf(field), field.questionToken !== undefined)
      }
    }
    members.set(nameOf(member), fields)
  }
  return members
}

function nameOf({ name }: ts.PropertySignature): string {
  if (ts.isIdentifier(name) || ts.isStringLiteral(name)) return name.text
  throw new Error('A member without a plain name')
}
