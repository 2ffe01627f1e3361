/** Histograms of durations on the path of every request: a request only adds to numbers; the metric is made of them when somebody reads it. */
import { Histogram, type MetricObjectWithValues, type MetricValueWithName, type Registry } from 'prom-client'

type Labels = Readonly<Record<string, string>>

export interface SecondsOptions {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  /** Upper bounds of the buckets, ascending. */
  readonly upperSeconds: readonly number[]
}

/** Durations of one kind. */
export class SecondsTally {
  readonly #upperMs: readonly number[]
  /** By upper bound, the last one for all that took longer. */
  readonly lasted: number[]
  sumMs = 0

  constructor(upperSeconds: readonly number[]) {
    this.#upperMs = upperSeconds.map((seconds) => seconds * 1_000)
    this.lasted = new Array<number>(upperSeconds.length + 1).fill(0)
  }

  add(tookMs: number): void {
    const upperMs = this.#upperMs
    let bucket = 0
    while (bucket < upperMs.length && tookMs > upperMs[bucket]!) bucket += 1
    this.lasted[bucket]! += 1
    this.sumMs += tookMs
  }
}

export class TalliedSeconds extends Histogram<string> {
  readonly #options: SecondsOptions
  /** Says what the histogram is; it is told nothing. */
  readonly #description: Histogram
  readonly #tallies: (readonly [Labels, SecondsTally])[] = []

  constructor(registry: Registry, options: SecondsOptions) {
    const { name, help, labelNames, upperSeconds } = options
    super({ name, help, buckets: [...upperSeconds], registers: [registry] })
    this.#description = new Histogram({ name, help, labelNames: [...labelNames], registers: [] })
    this.#options = options
  }

  /** Once for each kind. */
  tally(labels: Labels): SecondsTally {
    const tally = new SecondsTally(this.#options.upperSeconds)
    this.#tallies.push([labels, tally])
    return tally
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    return {
      ...(await this.#description.get()),
      values: this.#tallies.flatMap(([labels, tally]) => this.#values(labels, tally)),
    }
  }

  /** What a registry writes as text. */
  getForPromString(): ReturnType<TalliedSeconds['get']> {
    return this.get()
  }

  #values(labels: Labels, { lasted, sumMs }: SecondsTally): MetricValueWithName<string>[] {
    const { name, upperSeconds } = this.#options
    let count = 0
    const buckets = lasted.map((more, bucket) => {
      count += more
      return { metricName: `${name}_bucket`, labels: { le: upperSeconds[bucket] ?? '+Inf', ...labels }, value: count }
    })
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sumMs / 1_000 },
      { metricName: `${name}_count`, labels, value: count },
    ]
  }
}
