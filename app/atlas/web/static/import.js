// The progress of an import goes on by itself; the page is loaded anew at its end, for the report.
"use strict";

const place = document.querySelector("[data-import]");
if (place) {
  const bar = place.querySelector("progress");
  const number = (count) => count.toLocaleString("en");
  const look = async () => {
    try {
      const answer = await fetch(`/api/imports/${place.dataset.import}`);
      if (!answer.ok) return;
      const job = await answer.json();
      if (!["waiting", "running"].includes(job.state)) {
        location.reload();
        return;
      }
      if (job.total) [bar.max, bar.value] = [job.total, job.position];
      place.querySelector("[data-said]").textContent = `${number(job.position)}${job.total ? ` of ${number(job.total)}` : ""} records`;
      for (const cell of place.querySelectorAll("[data-count]")) cell.textContent = number(job.counts[cell.dataset.count] ?? 0);
    } catch {
      // The network is away; the next look may find it again.
    }
    setTimeout(look, document.hidden ? 10000 : 1000);
  };
  setTimeout(look, 700);
}
