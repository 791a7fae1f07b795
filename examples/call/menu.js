// The menu at a tile: our own name, or what the host may do about somebody.

const $ = (id) => document.getElementById(id);

/**
 * Of the call it needs:
 *   member(user)           {name, may}, or nothing if it is us
 *   keeps()                whether we are the host
 *   permit(user, permits), kick(user), rename(name)
 */
export class Menu {
  #call;
  #stage;
  #user = null;

  constructor(stage, call) {
    this.#call = call;
    this.#stage = stage;
    stage.element.addEventListener("click", (event) => {
      const button = event.target.closest(".more");
      if (button) this.#open(button);
    });
    for (const box of $("menu-host").querySelectorAll("input")) box.addEventListener("change", () => this.#permit(box));
    $("menu-kick").addEventListener("click", () => {
      $("menu").hidePopover();
      call.kick(this.#user);
    });
    $("menu-self").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = $("new-name").value.trim();
      $("menu").hidePopover();
      if (name) call.rename(name);
    });
  }

  #open(button) {
    const { user } = button.closest(".tile").dataset;
    const tile = this.#stage.tile(user);
    const member = this.#call.member(user);
    this.#user = user;
    $("menu-name").textContent = member ? tile.name : "You";
    $("menu-self").hidden = Boolean(member);
    $("menu-host").hidden = !member || !this.#call.keeps();
    $("new-name").value = tile.name;
    for (const box of $("menu-host").querySelectorAll("input")) {
      box.checked = box.dataset.permits.split(" ").every((permit) => member?.may[permit] ?? true);
    }
    $("menu").showPopover();
    this.#place(button);
  }

  #permit(box) {
    this.#call.permit(this.#user, Object.fromEntries(box.dataset.permits.split(" ").map((permit) => [permit, box.checked])));
  }

  // Beside its button, within the window; a phone has it at the bottom.
  #place(button) {
    const menu = $("menu");
    const at = button.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8));
    const below = at.bottom + 6 + menu.offsetHeight < innerHeight;
    menu.style.setProperty("--left", `${left}px`);
    menu.style.setProperty("--top", `${Math.max(8, below ? at.bottom + 6 : at.top - 6 - menu.offsetHeight)}px`);
  }
}
