import type { Event } from './scenario.ts'
import type { Site } from './site.ts'
import { wellMannered } from './peer.ts'

/** Lets the events of a scenario happen, and writes them into the book of the weather. */
export class Fate {
  readonly #site: Site
  #left: number

  constructor(site: Site) {
    this.#site = site
    const { events } = site.scenario
    this.#left = events.length
    for (const event of events) {
      site.clock.after(event.atMs, () => {
        site.trace(JSON.stringify(event))
        this.#happen(event)
      })
    }
  }

  /** Everything has happened, and what heals has healed. */
  get over(): boolean {
    return this.#left === 0
  }

  #happen(event: Event): void {
    const { origin, network, weather } = this.#site
    switch (event.is) {
      case 'kill':
        return this.#kill(event.peer, event.downMs)
      case 'leave':
        return this.#leave(event.peer)
      case 'part': {
        const heal = network.part(event.some, event.others)
        const calm = weather.part(event.some, event.others)
        return this.#later(event.forMs, () => {
          heal()
          calm()
        })
      }
      case 'manners': {
        const peer = this.#site.peer(event.peer)
        peer.manners = event.manners
        return this.#spell(`manners ${event.peer}`, event.forMs, () => {
          if (peer.manners === event.manners) peer.manners = wellMannered
        })
      }
      case 'scheduler': {
        const scheduler = this.#site.schedulerNamed(event.name)
        // Two may overlap: the second finds it down.
        if (!scheduler.node.up) return this.#later(0, () => undefined)
        scheduler.stop()
        return this.#spell(event.name, event.downMs, () => scheduler.start())
      }
      case 'origin':
        origin.fault = event.fault
        return this.#spell('origin', event.forMs, () => {
          if (origin.fault === event.fault) origin.fault = undefined
        })
      case 'change': {
        const { contentLength } = event
        origin.version = { number: origin.version.number + 1, contentLength }
        return this.#spell('version', 0, () => undefined)
      }
      case 'disk': {
        const { disk } = this.#site.peer(event.peer)
        disk.fault = event.fault
        return this.#spell(`disk ${event.peer}`, event.forMs, () => {
          if (disk.fault === event.fault) disk.fault = undefined
        })
      }
      case 'cancel':
        this.#site.peer(event.peer).cancel()
        return this.#later(0, () => undefined)
    }
  }

  #kill(name: string, downMs: number | undefined): void {
    const peer = this.#site.peer(name)
    if (peer.gone) return this.#later(0, () => undefined)
    const calm = this.#site.weather.begin(name)
    peer.kill(downMs === undefined)
    this.#later(downMs ?? 0, () => {
      calm()
      if (downMs === undefined || peer.gone || peer.process !== undefined) return
      this.#site.trace(`${name} starts`)
      peer.start()
    })
  }

  #leave(name: string): void {
    const calm = this.#site.weather.begin(name)
    void this.#site
      .peer(name)
      .leave()
      .then(() => {
        calm()
        this.#left--
      })
  }

  #spell(subject: string, forMs: number, end: () => void): void {
    const calm = this.#site.weather.begin(subject)
    this.#later(forMs, () => {
      calm()
      end()
    })
  }

  #later(ms: number, call: () => void): void {
    this.#site.clock.after(ms, () => {
      call()
      this.#left--
    })
  }
}
