// What this browser remembers about how a person likes the pages. Never a token.

const prefix = 'malla.';

export function remembered(name, otherwise) {
  try {
    return localStorage.getItem(prefix + name) ?? otherwise;
  } catch {
    return otherwise; // storage is closed to this page
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(prefix + name, value);
  } catch {
    // Not remembering is no reason to fail.
  }
}
