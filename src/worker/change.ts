/** Something changed: whoever waits looks again. Waiting is cheap and may be given up. */
export class Change {
  #next: Promise<void>;
  #notify: () => void = () => {};

  constructor() {
    this.#next = this.#renew();
  }

  /** Resolves at the next `notify`. */
  wait(): Promise<void> {
    return this.#next;
  }

  notify(): void {
    const notify = this.#notify;
    this.#next = this.#renew();
    notify();
  }

  #renew(): Promise<void> {
    return new Promise((resolve) => {
      this.#notify = resolve;
    });
  }
}
