// A classic script, for a browser runs no module of a page that is opened as a file.
if (location.protocol === "file:") {
  addEventListener("DOMContentLoaded", () => {
    document.querySelector("main").innerHTML =
      `<p class="problem">This page must come from a web server.
      In its folder, run: python -m http.server; then open http://localhost:8000</p>`;
  });
}
