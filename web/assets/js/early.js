// Runs before the first paint, so that a chosen theme does not flash: sets data-theme on <html>.
try {
  const theme = localStorage.getItem('malla.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is closed to this page: the system's scheme is used.
}
