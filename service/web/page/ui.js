// Preact with htm in place of JSX. The vendored files are scripts, which leave a global each.
const { h, render } = globalThis.preact;
export const { useEffect, useLayoutEffect, useRef, useState } = globalThis.preactHooks;
export const html = globalThis.htm.bind(h);
export { render };

// Draws a component anew as time passes, for what says how long ago something was.
export function useTick(milliseconds) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
}

// Where what has the focus goes away, a reader would start again at the top of the page: `ref` gets the focus then.
export function useKeptFocus(ref, inside, what) {
  const had = useRef(false);
  useEffect(() => {
    const note = () => { had.current = inside.current?.contains(document.activeElement) ?? false; };
    document.addEventListener('focusin', note);
    return () => document.removeEventListener('focusin', note);
  }, []);
  useLayoutEffect(() => {
    if (had.current && document.activeElement === document.body) ref.current?.focus({ preventScroll: true });
  }, [what]);
}
