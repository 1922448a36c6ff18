/** Thrown for a text that a parser rejects. `message` continues the text: `"4KB" is not a size`. */
export class NotAcceptedError extends Error {
  override readonly name = 'NotAcceptedError';
}
