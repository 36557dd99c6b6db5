// What every script in JavaScript begins with: where the server is, and how to say what was seen.

'use strict';

const { isDeepStrictEqual } = require('util');

const hosts = [`http://${process.argv[2]}`];

// Prints what was seen, and ends the script if it is not what was expected.
function see(what, seen, expected) {
  console.log(`${what}:`, seen);
  if (!isDeepStrictEqual(seen, expected)) {
    console.error(`${what}: expected`, expected);
    process.exit(1);
  }
}

// Prints the error that the promise ends with, which has these words.
async function refused(what, promise, words) {
  const text = await Promise.resolve(promise).then(answer => `answered ${answer}`, String);
  console.log(`${what}:`, text);
  if (text.startsWith('answered') || !text.includes(words)) {
    console.error(`${what}: expected`, words);
    process.exit(1);
  }
}

// The next event of this name, with all that comes with it.
function next(emitter, name) {
  return new Promise(resolve => emitter.once(name, (...all) => resolve(all)));
}

// Runs the script to its end. An error ends it with status 1.
function run(script) {
  script().then(() => process.exit(0), error => {
    console.error(error);
    process.exit(1);
  });
}

module.exports = { hosts, next, refused, run, see };
