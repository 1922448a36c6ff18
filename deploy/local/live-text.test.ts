import { expect, it } from 'vitest';

import { LiveText } from './live-text.ts';

function recorder(): { written: string[]; write: (text: string) => boolean } {
  const written: string[] = [];
  return { written, write: (text) => written.push(text) > 0 };
}

it('redraws in place in a terminal and truncates lines to its width', () => {
  const { written, write } = recorder();
  const live = new LiveText({ write, isTTY: true, columns: 4 });
  live.show('NAME AGE\na 1s', 'same');
  live.show('NAME AGE\na 2s\nb', 'same');
  live.show('-', 'same');
  expect(written).toEqual(['NAME\na 1s\n', '\u001B[2A\u001B[JNAME\na 2s\nb\n', '\u001B[3A\u001B[J-\n']);
});

it('outside a terminal, prints the text again only when the state changes', () => {
  const { written, write } = recorder();
  const live = new LiveText({ write });
  live.show('a 1s', 'Healthy');
  live.show('a 2s', 'Healthy');
  live.show('a 3s', 'Unhealthy');
  expect(written).toEqual(['a 1s\n\n', 'a 3s\n\n']);
});
