// Temporary folders that are gone when the process is, however it ends.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export function scratch(what) {
  const folder = mkdtempSync(path.join(tmpdir(), `confgate-e2e-${what}-`));
  const remove = () => {
    process.off("exit", remove);
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", remove);
  return { path: folder, remove };
}
