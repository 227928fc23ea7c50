/** A place for files: a folder's path, `file:///folder` on a shared volume, or `s3://bucket/prefix`. */
import { z } from "zod";
import { locatorProblem } from "../../util/locator.js";

export const placeSchema = z.string().superRefine((text, context) => {
  const message = locatorProblem(text);
  if (message !== null) context.addIssue({ code: "custom", message });
});
