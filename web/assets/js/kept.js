// What the page keeps of the mesh: fetched whole now and then, and changed by events in between.

/**
 * Keeps a value so that requests and events cannot undo each other. An answer may be older than what events said while it
 * was on its way: those changes are made again on it. An answer that a later request overtook counts for nothing.
 */
export function kept(value) {
  let asked = 0; // requests so far
  let answered = 0; // the latest of them that was answered
  let underWay = 0;
  let changes = []; // {after: requests that there had been, change}, while any is under way

  return {
    value: () => value,

    /** change makes the new value of the old one; made twice it is as if once. */
    change(change) {
      if (underWay) changes.push({ after: asked, change });
      value = change(value);
    },

    /** Takes what fetch resolves to. Resolves to whether it counts; rejects as fetch does, unless overtaken. */
    async load(fetch) {
      asked += 1;
      const turn = asked;
      underWay += 1;
      try {
        const answer = await fetch();
        if (turn < answered) return false;
        answered = turn;
        changes = changes.filter(({ after }) => after >= turn);
        value = changes.reduce((so, { change }) => change(so), answer);
        return true;
      } catch (error) {
        if (turn < answered) return false;
        throw error;
      } finally {
        underWay -= 1;
        if (!underWay) changes = [];
      }
    },
  };
}
