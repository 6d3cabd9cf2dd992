// Building and updating the document. Data reaches it only through text nodes, properties and attributes set here.

const spriteURL = new URL('../icons.svg', import.meta.url).pathname;
const svgNS = 'http://www.w3.org/2000/svg';

/** The element with this id; a missing one is a mistake in the page and throws. */
export function byId(id) {
  const el = document.getElementById(id);
  if (!el) throw new Error(`no element #${id}`);
  return el;
}

/**
 * Makes an element. props: `class`, `text`, `data` (an object of data-* values), `on` (an object of listeners),
 * names with a dash and `role` become attributes, everything else is set as a property. Children are nodes or strings.
 */
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === 'class') el.className = value;
    else if (name === 'text') el.textContent = value;
    else if (name === 'data') Object.assign(el.dataset, value);
    else if (name === 'on') for (const [type, listen] of Object.entries(value)) el.addEventListener(type, listen);
    else if (name === 'role' || name.includes('-')) el.setAttribute(name, value);
    else el[name] = value;
  }
  el.append(...children.filter((child) => child !== null && child !== undefined));
  return el;
}

/** An icon of the sprite, hidden from screen readers: what it stands for is said by its button's label. */
export function icon(name, small = '') {
  const svg = document.createElementNS(svgNS, 'svg');
  svg.setAttribute('class', `icon ${small}`.trim());
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(svgNS, 'use');
  use.setAttribute('href', `${spriteURL}#${name}`);
  svg.append(use);
  return svg;
}

/** Changes the icon inside an element. */
export function setIcon(el, name) {
  const use = el.querySelector('use');
  const href = `${spriteURL}#${name}`;
  if (use.getAttribute('href') !== href) use.setAttribute('href', href);
}

/** Sets text only where it differs, so that selections and screen readers are left in peace. */
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** Names a control for everyone: tooltip and accessible name. */
export function setLabel(el, text) {
  if (el.getAttribute('aria-label') === text) return;
  el.setAttribute('aria-label', text);
  el.title = text;
}

/** A button that shows only an icon. */
export function iconButton(name, action, extra = '') {
  return h('button', { class: `icon-button ${extra}`.trim(), type: 'button', data: { action } }, icon(name));
}

/** Shows a message in an element with the hidden attribute, or hides it when the message is empty. */
export function showMessage(el, text) {
  setText(el, text || '');
  el.hidden = !text;
}

/**
 * Keeps the children of a parent in step with a list, reusing the element of each key.
 * make(item) returns {el, update(item)}; update is called for new and for kept ones.
 */
export class KeyedList {
  #parent;
  #key;
  #make;
  #rows = new Map(); // key -> {el, update}

  constructor(parent, key, make) {
    this.#parent = parent;
    this.#key = key;
    this.#make = make;
  }

  render(items) {
    const wanted = new Set(items.map(this.#key));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.el.remove();
      this.#rows.delete(key);
    }
    let next = this.#parent.firstElementChild;
    for (const item of items) {
      const key = this.#key(item);
      let row = this.#rows.get(key);
      if (!row) {
        row = this.#make(item);
        this.#rows.set(key, row);
      }
      row.update(item);
      if (row.el === next) next = next.nextElementSibling;
      else this.#parent.insertBefore(row.el, next);
    }
  }
}

/** Marks one of a group of buttons as pressed. */
export function pressOne(buttons, isPressed) {
  for (const button of buttons) button.setAttribute('aria-pressed', String(isPressed(button)));
}

/** Fills the coloured part of a slider up to its value. */
export function paintRange(input) {
  const min = Number(input.min || 0);
  const max = Number(input.max || 100);
  const part = max > min ? (Number(input.value) - min) / (max - min) : 0;
  input.style.setProperty('--fill', `${(part * 100).toFixed(2)}%`);
}
