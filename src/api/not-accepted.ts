/** A text that a parser does not take. `message` reads after the text: `"4KB" is not a size`. */
export class NotAcceptedError extends Error {
  override readonly name = 'NotAcceptedError';
}
