interface Spell {
  readonly subject: string
  readonly from: number
  to: number
}

interface BlockedSpell extends Omit<Spell, 'subject'> {
  readonly some: ReadonlySet<string>
  readonly others: ReadonlySet<string> | 'rest'
}

/**
 * What went wrong when: the book from which is judged whether a failure was to be expected. A subject is the name of a node, or a word and a name:
 * `disk p1`, `manners p1`, `version`.
 */
export class Weather {
  readonly #now: () => number
  readonly #spells: Spell[] = []
  readonly #blocked: BlockedSpell[] = []

  constructor(now: () => number) {
    this.#now = now
  }

  /** Something is wrong from now on, until the returned function is called. */
  begin(subject: string): () => void {
    const spell = { subject, from: this.#now(), to: Number.POSITIVE_INFINITY }
    this.#spells.push(spell)
    return () => {
      spell.to = Math.min(spell.to, this.#now())
    }
  }

  /** Nothing passes between these from now on, until the returned function is called. */
  part(some: readonly string[], others: readonly string[] | 'rest'): () => void {
    const spell = {
      some: new Set(some),
      others: others === 'rest' ? others : new Set(others),
      from: this.#now(),
      to: Number.POSITIVE_INFINITY,
    }
    this.#blocked.push(spell)
    return () => {
      spell.to = this.#now()
    }
  }

  /** Whether nothing was wrong with any of these in that time. */
  calm(subjects: readonly string[], from: number, to: number): boolean {
    return !this.#spells.some(
      (spell) => subjects.includes(spell.subject) && spell.from <= to && spell.to >= from,
    )
  }

  /** Whether messages passed between these two all the time. */
  open(one: string, other: string, from: number, to: number): boolean {
    return !this.#blocked.some(
      (spell) =>
        spell.from <= to &&
        spell.to >= from &&
        (parts(spell, one, other) || parts(spell, other, one)),
    )
  }

  /** When the last thing that went wrong was over; 0 when nothing did. Infinite while something is wrong. */
  get calmSince(): number {
    return Math.max(0, ...this.#spells.map(({ to }) => to), ...this.#blocked.map(({ to }) => to))
  }
}

function parts({ some, others }: BlockedSpell, one: string, other: string): boolean {
  return some.has(one) && (others === 'rest' ? !some.has(other) : others.has(other))
}
